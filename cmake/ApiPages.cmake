# Reference pages of the library, made from its headers: cmake --build build --target docs-api; then
# build/api/html/index.html, and build/api/man for man -M. Doxygen 1.9 or newer makes them; nothing else needs it.
set(api_folder ${PROJECT_BINARY_DIR}/api)
configure_file(${PROJECT_SOURCE_DIR}/cmake/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
find_program(DOXYGEN_PROGRAM doxygen)
if(DOXYGEN_PROGRAM)
  add_custom_target(docs-api COMMAND ${CMAKE_COMMAND} -E make_directory ${api_folder}
                    COMMAND ${DOXYGEN_PROGRAM} ${PROJECT_BINARY_DIR}/Doxyfile VERBATIM)
endif()
