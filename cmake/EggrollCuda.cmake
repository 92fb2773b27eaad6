# SPDX-License-Identifier: MIT

# Decides whether the CUDA backend is built (EGGROLL_BUILD_CUDA) and with what. Needs a toolkit, and
# neither a GPU nor a driver. AUTO is OFF as long as the backend is not finished (cuda/README.md).
set(EGGROLL_BUILD_CUDA OFF)
set(eggroll_cuda_libraries)
if(NOT EGGROLL_CUDA MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "EGGROLL_CUDA must be AUTO, ON or OFF but is \"${EGGROLL_CUDA}\"")
endif()
if(EGGROLL_CUDA STREQUAL "ON")
    # Before the language is enabled, which would choose one by itself.
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES all-major)
    endif()
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        enable_language(CUDA)
        find_package(CUDAToolkit 12 QUIET)
    endif()
    if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND)
        set(EGGROLL_BUILD_CUDA ON)
        # The libraries of the system, shared: a program takes the ones of its driver.
        set(eggroll_cuda_libraries CUDA::cudart CUDA::cublas)
    else()
        message(FATAL_ERROR "EGGROLL_CUDA=ON: no CUDA toolkit of version 12 or newer was found; "
            "put its nvcc into PATH or set CMAKE_CUDA_COMPILER to it")
    endif()
endif()
message(STATUS "eggroll: CUDA backend ${EGGROLL_BUILD_CUDA}")

# eggroll_cuda_flags(TARGET): how a target's .cu files are compiled.
function(eggroll_cuda_flags target)
    # CMake 3.25 does not know the standards of nvcc 13. Members of structs that host and device share
    # are constexpr.
    target_compile_options(${target} PRIVATE
        $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr>)
    set_target_properties(${target} PROPERTIES
        CUDA_RUNTIME_LIBRARY Shared
        CUDA_VISIBILITY_PRESET hidden)
endfunction()
