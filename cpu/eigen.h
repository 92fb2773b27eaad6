// SPDX-License-Identifier: MIT
#pragma once

// The only place that includes Eigen, under a name of its own per instruction set: a program that
// uses Eigen itself, built with other flags, shares no symbol with ours. Products run on the
// calling thread; the threads are ours.
#include "cpu/isa.h"

#define Eigen EGGROLL_CPU_JOIN(eggroll_eigen_, EGGROLL_CPU_NS)
#define EIGEN_DONT_PARALLELIZE
#define EIGEN_NO_DEBUG
#include <Eigen/Core>
