# Run by cpack on the installed tree before it is packed: what Debian wants of any package (lintian).
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
find_program(GZIP_PROGRAM gzip REQUIRED)
set(share ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share)
file(RENAME ${share}/doc/eqflow/LICENSE ${share}/doc/eqflow/copyright)
# A changelog in Debian's own format, which leads to ours.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${share}/doc/eqflow/changelog
     "eqflow (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n  * Made by cpack from the sources; what changed: CHANGELOG.md.\n\n"
     " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
file(GLOB pages ${share}/man/man1/*.1)
execute_process(COMMAND ${GZIP_PROGRAM} -9n ${share}/doc/eqflow/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
