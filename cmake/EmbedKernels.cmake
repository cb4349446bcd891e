# Writes OUTPUT: the files of cl/ as C strings, one entry a file, named by its path below cl/.
# Short literals, because C11 only promises 4095 characters in one.
set(c "/* Made by cmake/EmbedKernels.cmake. */\n#include \"embedded_kernels.h\"\n\nconst eqf__embedded_kernel eqf__embedded_kernels[] = {\n")
function(embed path name)
  file(READ ${path} hex HEX)
  string(LENGTH "${hex}" length)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  set(c "${c}    {\"${name}\", (const char *)(const unsigned char[]){${bytes}0}},\n" PARENT_SCOPE)
endfunction()
foreach(file IN LISTS FILES)
  embed(${SOURCE_DIR}/${file} ${file})
endforeach()
embed(${PHILOX} common/philox.clh)
file(WRITE ${OUTPUT} "${c}    {0, 0},\n};\n")
