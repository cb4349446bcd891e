# What `cmake --install` puts where, and the packages that `cpack` makes of it. Nothing installed names this machine's
# folders, so that the prefix may be moved.
include(CMakePackageConfigHelpers)
set(eqflow_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/eqflow)

install(TARGETS eqflow EXPORT eqflow_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS eqflow_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/eqflow DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/apps/examples/morse.cl DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# Trained models and their cards, found from the program's folder or the library's (eqflow/gallery.h).
install(DIRECTORY ${PROJECT_SOURCE_DIR}/apps/gallery/ DESTINATION ${CMAKE_INSTALL_DATADIR}/eqflow/gallery
        FILES_MATCHING PATTERN *.safetensors PATTERN *.json PATTERN *.md PATTERN *.svg)

# The experiments, which call the program beside them: bin/eqflow-experiment leads to the scripts.
set(experiments_folder ${CMAKE_INSTALL_DATADIR}/eqflow/experiments)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/apps/experiments/ DESTINATION ${experiments_folder} USE_SOURCE_PERMISSIONS
        FILES_MATCHING PATTERN *.sh)
file(RELATIVE_PATH experiments_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_DATADIR}/eqflow/experiments)
install(CODE "file(CREATE_LINK ${experiments_from_bin}/run.sh
                   \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/eqflow-experiment\" SYMBOLIC)")

# find_package(eqflow)
install(EXPORT eqflow_targets NAMESPACE eqflow:: DESTINATION ${eqflow_cmake_folder} FILE eqflow-targets.cmake)
set(EQFLOW_IS_STATIC TRUE)
if(BUILD_SHARED_LIBS)
  set(EQFLOW_IS_STATIC FALSE)
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/eqflow-config.cmake.in
                              ${PROJECT_BINARY_DIR}/eqflow-config.cmake INSTALL_DESTINATION ${eqflow_cmake_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/eqflow-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/eqflow-config.cmake ${PROJECT_BINARY_DIR}/eqflow-config-version.cmake
        DESTINATION ${eqflow_cmake_folder})

# pkg-config. A static library needs what it calls on the command line of every program, a shared one brings it along.
file(RELATIVE_PATH EQFLOW_PREFIX_FROM_PC ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
if(BUILD_SHARED_LIBS)
  set(EQFLOW_PC_REQUIRES "Requires.private: OpenCL, clblast, jansson, libmd")
  set(EQFLOW_PC_LIBS "Libs.private: -lm")
else()
  set(EQFLOW_PC_REQUIRES "Requires: OpenCL, clblast, jansson, libmd")
  set(EQFLOW_PC_LIBS "")
  set(EQFLOW_PC_MATH " -lm")
  foreach(library IN LISTS CMAKE_DL_LIBS)
    string(APPEND EQFLOW_PC_MATH " -l${library}")
  endforeach()
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/eqflow.pc.in ${PROJECT_BINARY_DIR}/eqflow.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/eqflow.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Manual pages: eqflow(1) by hand, one a command from what its --help says.
install(FILES ${PROJECT_SOURCE_DIR}/man/eqflow.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
if(NOT CMAKE_CROSSCOMPILING)
  set(man_folder ${PROJECT_BINARY_DIR}/man)
  add_custom_command(OUTPUT ${man_folder}/done
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:eqflow_program> -DVERSION=${PROJECT_VERSION} -DOUTPUT=${man_folder}
            -DEXPERIMENT=${PROJECT_SOURCE_DIR}/apps/experiments/run.sh -P ${PROJECT_SOURCE_DIR}/cmake/HelpToMan.cmake
    DEPENDS eqflow_program ${PROJECT_SOURCE_DIR}/cmake/HelpToMan.cmake ${PROJECT_SOURCE_DIR}/apps/experiments/run.sh VERBATIM)
  add_custom_target(eqflow_man ALL DEPENDS ${man_folder}/done)
  install(DIRECTORY ${man_folder}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING PATTERN *.1)
endif()

# cpack -G DEB: one package with program, library and headers. Its OpenCL driver is the machine's own choice.
set(CPACK_PACKAGE_NAME eqflow)
set(CPACK_PACKAGE_CONTACT "eqflow developers <eqflow@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "equivariant normalizing flows with exact likelihood") # at most 80 characters
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Learns the equilibrium distribution of many identical particles from
samples, and draws independent new configurations, each with its exact,
normalised log-density, on any OpenCL 1.2 device.
.
The program eqflow, the library libeqflow with its headers, and the manual.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# gnuplot for the pictures of reports; with jq, for eqflow-experiment.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "pocl-opencl-icd | opencl-icd, gnuplot-nox | gnuplot, jq")
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/DebianFiles.cmake)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "ocl-icd-opencl-dev, libclblast-dev, libjansson-dev, libmd-dev")
include(CPack)
