# Writes OUTPUT/eqflow-<command>.1 for every command of PROGRAM, from its --help: pages that cannot drift from it.
execute_process(COMMAND ${PROGRAM} --help OUTPUT_VARIABLE overview COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE_RECURSE ${OUTPUT})

# Lines as roff: what begins with a dot or a quote is text, backslashes and minus signs are themselves.
function(to_roff text result)
  string(REPLACE "\\" "\\e" text "${text}")
  string(REPLACE "-" "\\-" text "${text}")
  string(REGEX REPLACE "(^|\n)([.'])" "\\1\\\\&\\2" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(write_page command summary)
  execute_process(COMMAND ${PROGRAM} ${command} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
  if(NOT help MATCHES "^Usage: ([^\n]*)\n\n")
    message(FATAL_ERROR "the help of eqflow ${command} does not begin with its usage")
  endif()
  set(usage "${CMAKE_MATCH_1}")
  string(REGEX REPLACE "^Usage: [^\n]*\n\n" "" help "${help}")
  to_roff("${usage}" usage)
  to_roff("${summary}" summary)
  to_roff("${help}" help)
  string(TOUPPER "eqflow\\-${command}" title)
  to_roff("${command}" name)
  file(WRITE ${OUTPUT}/eqflow-${command}.1
       ".TH ${title} 1 \"\" \"eqflow ${VERSION}\" \"User Commands\"\n.SH NAME\neqflow\\-${name} \\- ${summary}\n"
       ".SH SYNOPSIS\n${usage}\n.SH DESCRIPTION\n.nf\n${help}.fi\n.SH SEE ALSO\n.BR eqflow (1)\n")
endfunction()

# Square brackets are hidden from CMake's lists, and semicolons from its lines, while lines are taken apart.
string(REPLACE ";" "," overview "${overview}")
string(REGEX MATCHALL "\n  [a-z-]+ +[^\n]+" lines "${overview}")
set(num_pages 0)
foreach(line IN LISTS lines)
  if(line MATCHES "^\n  ([a-z-]+) +([^\n]+)$" AND NOT CMAKE_MATCH_1 STREQUAL "eqflow")
    write_page(${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
    math(EXPR num_pages "${num_pages} + 1")
  endif()
endforeach()
if(num_pages LESS 5)
  message(FATAL_ERROR "only ${num_pages} commands were found in eqflow --help")
endif()
file(TOUCH ${OUTPUT}/done)
