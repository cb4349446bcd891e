# Reference pages of the library, made from its headers: cmake --build build --target docs-api; then
# build/api/html/index.html, and build/api/man for man -M. Doxygen 1.9 or newer makes them; nothing else needs it.
set(api_folder ${PROJECT_BINARY_DIR}/api)
configure_file(${PROJECT_SOURCE_DIR}/cmake/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
# The first page: each header with the words that its first comment begins with.
file(GLOB api_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/eqflow/*.h)
set(api_rows "")
foreach(header IN LISTS api_headers)
  get_filename_component(name ${header} NAME)
  file(READ ${header} text LIMIT 400)
  string(REGEX REPLACE "\n \\* ?" " " text "${text}")
  string(REGEX MATCH "^/\\* ([^:.(*]*)" ignored "${text}")
  string(APPEND api_rows "<tr><td>@ref eqflow/${name} \"${name}\"</td><td>${CMAKE_MATCH_1}</td></tr>\n")
endforeach()
file(WRITE ${PROJECT_BINARY_DIR}/api-main.dox
     "/** @mainpage The library from a program\n\neqflow/eqflow.h has all of it. What can fail returns an eqf_status, "
     "and eqf_context_error() has one line for people; structs of options begin with their initializer (EQF_..._INIT). A flow: "
     "eqf_context_create(), eqf_model_load(), eqf_flow_create(), eqf_flow_sample(), eqf_flow_log_prob().\n\n<table>\n${api_rows}</table>\n*/\n")
find_program(DOXYGEN_PROGRAM doxygen)
if(DOXYGEN_PROGRAM)
  add_custom_target(docs-api COMMAND ${CMAKE_COMMAND} -E make_directory ${api_folder}
                    COMMAND ${DOXYGEN_PROGRAM} ${PROJECT_BINARY_DIR}/Doxyfile VERBATIM)
endif()

# The whole documentation as a site with search: cmake --build build --target docs-site; then build/site/index.html. The C reference is part of
# it where there is Doxygen. What is built is installed, and so is part of the packages.
find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
  add_custom_target(docs-site COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/docs/site/build.py --output ${PROJECT_BINARY_DIR}/site
                    --c-api ${api_folder}/html VERBATIM)
  if(TARGET docs-api)
    add_dependencies(docs-site docs-api)
  endif()
  if(BUILD_TESTING)
    add_test(NAME docs.site COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/docs/site/build.py --output ${PROJECT_BINARY_DIR}/site-of-test)
    set_tests_properties(docs.site PROPERTIES LABELS docs TIMEOUT 600 SKIP_RETURN_CODE 77)
  endif()
endif()
install(DIRECTORY ${PROJECT_BINARY_DIR}/site/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/html OPTIONAL)
