#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Derives the polynomial coefficients of core/noise_math.h and prints them as C++ constants.

Needs mpmath on top of the standard library (Debian: python3-mpmath). Takes a few seconds.

Each polynomial is the minimax solution under the weight that makes the *relative* error of the
finished function smallest (exchange algorithm of Remez, 50 digits). Its coefficients are then
rounded to float and moved by single ulps, one at a time, while that lowers the largest weighted
error: rounding all at once costs up to a factor of two. The error printed is that of the rounded
polynomial evaluated exactly, in units of 2^-24 (half an ulp just above 1); the error of the whole
transform, rounding of its operations included, is measured by tests/test_noise.cpp.
"""

import struct

from mpmath import cos, fabs, linspace, log, lu_solve, matrix, mp, mpf, pi, sin, sqrt

mp.dps = 50


def to_float(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def next_float(x, step):
    bits = struct.unpack("I", struct.pack("f", x))[0]
    return struct.unpack("f", struct.pack("I", bits + step))[0]


def evaluate(coefficients, x):
    value = mpf(0)
    for c in reversed(coefficients):
        value = value * x + c
    return value


def remez(target, weight, low, high, degree):
    """Coefficients, lowest first, that minimise max |weight (p - target)| on [low, high]."""
    count = degree + 2
    middle, half = (mpf(low) + high) / 2, (mpf(high) - low) / 2
    points = [middle - half * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    grid = linspace(low, high, 1200)
    values = [(x, target(x), weight(x)) for x in grid]
    for _ in range(40):
        system, right = matrix(count, count), matrix(count, 1)
        for row, x in enumerate(points):
            for power in range(degree + 1):
                system[row, power] = x**power
            system[row, degree + 1] = (-1) ** row / weight(x)
            right[row] = target(x)
        solution = lu_solve(system, right)
        coefficients = [solution[i] for i in range(degree + 1)]
        levelled = fabs(solution[degree + 1])
        # The new reference: the largest error of each run of equal sign.
        extrema = []
        for x, value, w in values:
            error = w * (evaluate(coefficients, x) - value)
            if extrema and (error > 0) == (extrema[-1][1] > 0):
                if fabs(error) > fabs(extrema[-1][1]):
                    extrema[-1] = (x, error)
            else:
                extrema.append((x, error))
        while len(extrema) > count:
            extrema.pop(0 if fabs(extrema[0][1]) < fabs(extrema[-1][1]) else -1)
        if len(extrema) < count:
            raise RuntimeError("the exchange lost an alternation")
        points = [x for x, _ in extrema]
        if max(fabs(e) for _, e in extrema) < levelled * mpf("1.001"):
            break
    return coefficients


def round_coefficients(coefficients, target, weight, low, high, fixed=()):
    """Float coefficients and the largest weighted error of their polynomial."""
    grid = linspace(low, high, 400)
    # The residual is formed from double differences to the exact minimax polynomial, small numbers
    # that double holds well, plus that polynomial's own error.
    base = [(float(x), float(weight(x)), float(weight(x) * (evaluate(coefficients, x) - target(x))))
            for x in grid]

    def worst(rounded):
        delta = [float(mpf(r) - c) for r, c in zip(rounded, coefficients)]
        largest = 0.0
        for x, w, error in base:
            value = 0.0
            for d in reversed(delta):
                value = value * x + d
            largest = max(largest, abs(error + w * value))
        return largest

    rounded = [fixed[i] if i < len(fixed) else to_float(c) for i, c in enumerate(coefficients)]
    best = worst(rounded)
    improved = True
    while improved:
        improved = False
        for i in range(len(fixed), len(rounded)):
            for step in (1, -1, 2, -2, 5, -5, 20, -20):
                trial = list(rounded)
                trial[i] = next_float(rounded[i], step)
                error = worst(trial)
                if error < best * 0.9999:
                    rounded, best, improved = trial, error, True
    return rounded, best


def hexadecimal(x):
    """C++ hexadecimal literal of a float, without trailing zeros."""
    mantissa, exponent = float(x).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{int(exponent)}f"


def report(name, formula, target, weight, low, high, degree):
    exact = remez(target, weight, low, high, degree)
    rounded, error = round_coefficients(exact, target, weight, low, high)
    print(f"// {formula}, relative error {error * 2**24:.3f} * 2^-24")
    for i, c in enumerate(rounded):
        print(f"inline constexpr float {name}{i} = {hexadecimal(c)};  // {c:.9g}")
    print()


def log_target(h):
    # (-2 ln(1 - h/2) - h) / h^2; the series where the difference would cancel.
    if fabs(h) < mpf("1e-8"):
        return mpf(1) / 4 + h / 12 + h * h / 32
    return (-2 * log(1 - h / 2) - h) / h**2


def log_weight(h):
    return fabs(h) / (1 + h * log_target(h)) if h else mpf(0)


def sin_target(z):
    return sin(2 * pi * sqrt(z)) / sqrt(z) if z else 2 * pi


def cos_target(z):
    return (cos(2 * pi * sqrt(z)) - 1) / z if z else -2 * pi**2


if __name__ == "__main__":
    # m in [sqrt(1/2), sqrt(2)) and h = 2 - 2m.
    report("kLog", "-2 ln(1 - h/2) = h + h^2 Q(h)", log_target, log_weight,
           2 - 2 * sqrt(mpf(2)), 2 - sqrt(mpf(2)), 7)
    report("kSin", "sin(2 pi r) = r S(r^2), |r| <= 1/8", sin_target,
           lambda z: 1 / sin_target(z), mpf(0), mpf(1) / 64, 3)
    report("kCos", "cos(2 pi r) = 1 + r^2 C(r^2), |r| <= 1/8", cos_target,
           lambda z: z / (1 + z * cos_target(z)) if z else mpf(0), mpf(0), mpf(1) / 64, 3)
    step = -2 * log(mpf(2)) / 2**23
    print("// -2 ln 2 per unit of the exponent field, whose unit is 2^23")
    print(f"inline constexpr float kLogStep = {hexadecimal(to_float(step))};"
          f"  // relative error {float((to_float(step) - step) / step) * 2**24:.3f} * 2^-24")
