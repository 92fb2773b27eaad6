# SPDX-License-Identifier: MIT

# eggroll_find_package(NAME [VERSION] APT debian-package FOR "what needs it" [ARGS find_package args])
# Finds a package of the system. What is missing is told by eggroll_require_packages, all at once.
macro(eggroll_find_package name)
    cmake_parse_arguments(wanted "" "APT;FOR" "ARGS" ${ARGN})
    find_package(${name} ${wanted_UNPARSED_ARGUMENTS} QUIET ${wanted_ARGS})
    if(NOT ${name}_FOUND)
        list(JOIN wanted_UNPARSED_ARGUMENTS " " wanted_version)
        string(STRIP "${name} ${wanted_version}" wanted_version)
        set_property(GLOBAL APPEND PROPERTY EGGROLL_MISSING
            "  ${wanted_version} for ${wanted_FOR}\n")
        set_property(GLOBAL APPEND PROPERTY EGGROLL_MISSING_APT ${wanted_APT})
    endif()
endmacro()

# Stops with what was not found, for what it is wanted, and the way out.
function(eggroll_require_packages)
    get_property(missing GLOBAL PROPERTY EGGROLL_MISSING)
    get_property(apt GLOBAL PROPERTY EGGROLL_MISSING_APT)
    if(missing)
        list(REMOVE_DUPLICATES apt)
        list(JOIN apt " " apt)
        message(FATAL_ERROR "Not found:\n" ${missing} "On Debian: apt install ${apt}")
    endif()
endfunction()
