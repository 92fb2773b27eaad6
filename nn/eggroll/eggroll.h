// SPDX-License-Identifier: MIT
#pragma once

// All of libeggroll.

#include <eggroll/activation.h>
#include <eggroll/bundle.h>
#include <eggroll/checkpoint.h>
#include <eggroll/conv2d.h>
#include <eggroll/device.h>
#include <eggroll/dlpack.h>
#include <eggroll/embedding.h>
#include <eggroll/episode.h>
#include <eggroll/error.h>
#include <eggroll/flatten.h>
#include <eggroll/gru.h>
#include <eggroll/init.h>
#include <eggroll/layer_norm.h>
#include <eggroll/linear.h>
#include <eggroll/loss.h>
#include <eggroll/minimal_gru.h>
#include <eggroll/module.h>
#include <eggroll/noise.h>
#include <eggroll/npy.h>
#include <eggroll/objective.h>
#include <eggroll/ops.h>
#include <eggroll/optimizer.h>
#include <eggroll/perturbation.h>
#include <eggroll/pool2d.h>
#include <eggroll/residual.h>
#include <eggroll/rms_norm.h>
#include <eggroll/safetensors.h>
#include <eggroll/schedule.h>
#include <eggroll/scorer.h>
#include <eggroll/sequential.h>
#include <eggroll/shaping.h>
#include <eggroll/softmax.h>
#include <eggroll/strategy.h>
#include <eggroll/stream.h>
#include <eggroll/system.h>
#include <eggroll/tensor.h>
#include <eggroll/threads.h>
#include <eggroll/version.h>
#include <eggroll/view.h>
