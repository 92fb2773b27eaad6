# SPDX-License-Identifier: MIT

# Decides whether <eggroll/dlpack.h> works (EGGROLL_BUILD_DLPACK) and with which header. Only the
# build of the library needs it. Known are versions 0.5 to 1.x, whose DLManagedTensor is the same.
set(EGGROLL_BUILD_DLPACK OFF)
if(NOT EGGROLL_DLPACK MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "EGGROLL_DLPACK must be AUTO, ON or OFF but is \"${EGGROLL_DLPACK}\"")
endif()
if(NOT EGGROLL_DLPACK STREQUAL "OFF")
    find_path(EGGROLL_DLPACK_INCLUDE_DIR dlpack/dlpack.h)
    mark_as_advanced(EGGROLL_DLPACK_INCLUDE_DIR)
    set(dlpack_problem "<dlpack/dlpack.h> was not found; on Debian: apt install libdlpack-dev")
    if(EGGROLL_DLPACK_INCLUDE_DIR)
        # Up to 0.8 the version is one number, 80; later the major one has a line of its own.
        file(STRINGS ${EGGROLL_DLPACK_INCLUDE_DIR}/dlpack/dlpack.h dlpack_version
            REGEX "define DLPACK_(MAJOR_)?VERSION [0-9]+" LIMIT_COUNT 1)
        if(dlpack_version MATCHES "MAJOR_VERSION 1$|DLPACK_VERSION [5-9][0-9]$")
            set(EGGROLL_BUILD_DLPACK ON)
        else()
            set(dlpack_problem "${EGGROLL_DLPACK_INCLUDE_DIR}/dlpack/dlpack.h has a version that is "
                "not known (\"${dlpack_version}\"): 0.5 to 1.x are")
        endif()
    endif()
    if(EGGROLL_DLPACK STREQUAL "ON" AND NOT EGGROLL_BUILD_DLPACK)
        message(FATAL_ERROR "EGGROLL_DLPACK=ON: ${dlpack_problem}")
    endif()
endif()
message(STATUS "eggroll: DLPack ${EGGROLL_BUILD_DLPACK}")
