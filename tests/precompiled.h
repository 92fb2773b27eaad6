// SPDX-License-Identifier: MIT
// What nearly every test includes, compiled once.
#include "tests/cases.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>
