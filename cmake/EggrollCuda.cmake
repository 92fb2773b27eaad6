# SPDX-License-Identifier: MIT

# Decides whether the CUDA backend is built (EGGROLL_BUILD_CUDA) and with what. Needs a toolkit, and
# neither a GPU nor a driver. AUTO builds it where there is one that works.
set(EGGROLL_BUILD_CUDA OFF)
set(eggroll_cuda_libraries)
set(cuda_reason "")
if(NOT EGGROLL_CUDA MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "EGGROLL_CUDA must be AUTO, ON or OFF but is \"${EGGROLL_CUDA}\"")
elseif(EGGROLL_CUDA STREQUAL "AUTO" AND EGGROLL_SANITIZE)
    set(cuda_reason "not under sanitizers")
elseif(NOT EGGROLL_CUDA STREQUAL "OFF")
    # Before the language is enabled, which would choose by itself; the environment variable CUDAARCHS
    # is CMake's. What is built for daily work newer GPUs run too.
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
        if(CMAKE_BUILD_TYPE MATCHES "^(Debug|RelWithDebInfo)$")
            set(CMAKE_CUDA_ARCHITECTURES 80)
        else()
            set(CMAKE_CUDA_ARCHITECTURES all-major)
        endif()
    endif()
    # Where it is installed, PATH often does not go.
    find_program(EGGROLL_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda
        PATH_SUFFIXES bin DOC "CUDA compiler that AUTO has found")
    mark_as_advanced(EGGROLL_NVCC)
    if(EGGROLL_NVCC AND NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
        set(ENV{CUDACXX} ${EGGROLL_NVCC})
    endif()
    include(CheckLanguage)
    check_language(CUDA)  # finds it and compiles with it, elsewhere: one that is broken stops nothing
    if(CMAKE_CUDA_COMPILER)
        enable_language(CUDA)
        find_package(CUDAToolkit 12 QUIET)
    endif()
    if(NOT CMAKE_CUDA_COMPILER)
        set(cuda_reason "no nvcc that works; put it into PATH or set CMAKE_CUDA_COMPILER to it")
    elseif(NOT CUDAToolkit_FOUND)
        set(cuda_reason "no CUDA toolkit of version 12 or newer")
    elseif(NOT TARGET CUDA::cublasLt)
        set(cuda_reason "a CUDA toolkit without cuBLAS")
    else()
        set(EGGROLL_BUILD_CUDA ON)
        # The libraries of the system, shared: a program takes the ones of its driver.
        set(eggroll_cuda_libraries CUDA::cudart CUDA::cublas CUDA::cublasLt)
        list(JOIN CMAKE_CUDA_ARCHITECTURES " " cuda_reason)
        set(cuda_reason "toolkit ${CUDAToolkit_VERSION}, architectures ${cuda_reason}")
    endif()
    if(EGGROLL_CUDA STREQUAL "ON" AND NOT EGGROLL_BUILD_CUDA)
        message(FATAL_ERROR "EGGROLL_CUDA=ON: ${cuda_reason}")
    endif()
endif()
if(cuda_reason)
    set(cuda_reason " (${cuda_reason})")
endif()
message(STATUS "eggroll: CUDA backend ${EGGROLL_BUILD_CUDA}${cuda_reason}")

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
