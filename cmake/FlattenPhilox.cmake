# Random123's philox4x32 (Salmon et al., SC 2011) preprocessed into one OpenCL text with a free word type: the same
# rounds serve one lane or V lanes at once. Only the 32x32 -> 64 bit product is ours (mul_hi), because it must take
# vectors.
file(WRITE ${OUTPUT}.in.c "#include <Random123/philox.h>\n")
execute_process(
  COMMAND ${COMPILER} -E -P -undef -nostdinc -x c -I${INCLUDE_DIR} -D__OPENCL_VERSION__=120 ${OUTPUT}.in.c
  OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
set(flat "/* From Random123, flattened by cmake/FlattenPhilox.cmake. */\n")
foreach(needed "struct r123array2x32{" "struct r123array4x32{" "_philox4x32bumpkey[(]" "_philox4x32round[(]" "enum r123_enum_philox4x32 ")
  if(NOT "${text}" MATCHES "(^|\n)([^\n]*${needed}[^\n]*)")
    message(FATAL_ERROR "Random123/philox.h no longer holds '${needed}': cmake/FlattenPhilox.cmake needs a look")
  endif()
  string(APPEND flat "${CMAKE_MATCH_2}\n")
  if(needed STREQUAL "struct r123array4x32{")
    # mul_hi of vectors is four products of 16 bits on PoCL; processors multiply every second number to 64 bits at once.
    string(APPEND flat "#if V > 1
inline philox_word mulhilo32(philox_word a, philox_word b, philox_word *high) {
    const philox_pairs low_words = 0xffffffffUL;
    philox_pairs even = (as_philox_pairs(a) & low_words) * (as_philox_pairs(b) & low_words);
    philox_pairs odd = (as_philox_pairs(a) >> 32UL) * (as_philox_pairs(b) >> 32UL);
    *high = as_uintv((even >> 32UL) | (odd & ~low_words));
    return as_uintv((even & low_words) | (odd << 32UL));
}
#else
inline philox_word mulhilo32(philox_word a, philox_word b, philox_word *high) { *high = mul_hi(a, b); return a * b; }
#endif
")
  endif()
endforeach()
string(REPLACE "uint32_t" "philox_word" flat "${flat}")
string(REPLACE "inline " "static inline " flat "${flat}")
file(WRITE ${OUTPUT} "${flat}")
