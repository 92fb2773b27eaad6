# SPDX-License-Identifier: MIT

# eggroll_find_package(NAME [VERSION] APT debian-package FOR "what needs it" [ARGS find_package args])
# Finds a package of the system or says in one message what is missing, for what, and the way out.
macro(eggroll_find_package name)
    cmake_parse_arguments(wanted "" "APT;FOR" "ARGS" ${ARGN})
    find_package(${name} ${wanted_UNPARSED_ARGUMENTS} QUIET ${wanted_ARGS})
    if(NOT ${name}_FOUND)
        message(FATAL_ERROR "${name} ${wanted_UNPARSED_ARGUMENTS} not found; ${wanted_FOR} needs it. "
            "On Debian: apt install ${wanted_APT}")
    endif()
endmacro()
