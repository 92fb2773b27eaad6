# SPDX-License-Identifier: MIT
# What `cmake --install` does: headers, library, find_package(eggroll CONFIG) and eggroll.pc.

include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/eggroll)
install(TARGETS eggroll EXPORT eggrollTargets FILE_SET HEADERS)
install(EXPORT eggrollTargets NAMESPACE eggroll:: DESTINATION ${package_dir})

configure_package_config_file(cmake/eggrollConfig.cmake.in eggrollConfig.cmake
    INSTALL_DESTINATION ${package_dir})
# Before 1.0 a new minor version may break the interface.
write_basic_package_version_file(eggrollConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/eggrollConfig.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/eggrollConfigVersion.cmake
    DESTINATION ${package_dir})

# Relative to the .pc file, so that `cmake --install --prefix` and a moved folder work.
file(RELATIVE_PATH pc_to_prefix
    ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH pc_libdir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH pc_includedir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
# Where the CUDA libraries are elsewhere: pkg-config --define-variable=cuda_libdir=...
set(pc_cuda_libdir)
set(pc_cuda_libs)
if(EGGROLL_BUILD_CUDA)
    set(pc_cuda_libdir "cuda_libdir=${CUDAToolkit_LIBRARY_DIR}\n")
    set(pc_cuda_libs " -L\${cuda_libdir} -lcublasLt -lcublas -lcudart -lstdc++")
endif()
configure_file(cmake/eggroll.pc.in eggroll.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/eggroll.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
