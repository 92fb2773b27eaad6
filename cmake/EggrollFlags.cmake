# SPDX-License-Identifier: MIT

# eggroll_flags(TARGET): the warnings and sanitizers of this project, for one of its own targets.
# Everything is PRIVATE: who links the library gets none of it.
function(eggroll_flags target)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    target_compile_options(${target} PRIVATE
        $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wpedantic>
        $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow>)
    # GCC 12 takes `"text" + std::string` for an overlap (GCC bug 105651) and its own AVX-512 headers
    # for uses of uninitialised values (bug 105593).
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
        target_compile_options(${target} PRIVATE
            $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-maybe-uninitialized;-Wno-uninitialized>)
    endif()
    if(EGGROLL_WERROR)
        target_compile_options(${target} PRIVATE
            $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
    endif()
    if(EGGROLL_SANITIZE)
        set(sanitize -fsanitize=${EGGROLL_SANITIZE} -fno-sanitize-recover=all)
        target_compile_options(${target} PRIVATE ${sanitize} -fno-omit-frame-pointer)
        # The standard library's own checks, such as the bounds of operator[].
        target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
        target_link_options(${target} PRIVATE ${sanitize})
    endif()
endfunction()
