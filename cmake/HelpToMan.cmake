# Writes OUTPUT/eqflow-<command>.1 for every command of PROGRAM, and eqflow-experiment.1 for EXPERIMENT, from their
# --help: pages that cannot drift from it.
execute_process(COMMAND ${PROGRAM} --help OUTPUT_VARIABLE overview COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE_RECURSE ${OUTPUT})

# Lines as roff: what begins with a dot or a quote is text, backslashes and minus signs are themselves.
function(to_roff text result)
  string(REPLACE "\\" "\\e" text "${text}")
  string(REPLACE "-" "\\-" text "${text}")
  string(REGEX REPLACE "(^|\n)([.'])" "\\1\\\\&\\2" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(write_page page summary) # and the command line that --help is added to
  execute_process(COMMAND ${ARGN} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
  if(NOT help MATCHES "^Usage: ([^\n]*)\n\n")
    message(FATAL_ERROR "the help of ${page} does not begin with its usage")
  endif()
  set(usage "${CMAKE_MATCH_1}")
  string(REGEX REPLACE "^Usage: [^\n]*\n\n" "" help "${help}")
  to_roff("${usage}" usage)
  to_roff("${summary}" summary)
  to_roff("${help}" help)
  to_roff("${page}" name)
  string(TOUPPER "${name}" title)
  file(WRITE ${OUTPUT}/${page}.1
       ".TH ${title} 1 \"\" \"eqflow ${VERSION}\" \"User Commands\"\n.SH NAME\n${name} \\- ${summary}\n"
       ".SH SYNOPSIS\n${usage}\n.SH DESCRIPTION\n.nf\n${help}.fi\n.SH SEE ALSO\n.BR eqflow (1)\n")
endfunction()

# Square brackets are hidden from CMake's lists, and semicolons from its lines, while lines are taken apart.
string(REPLACE ";" "," overview "${overview}")
string(REGEX MATCHALL "\n  [a-z-]+ +[^\n]+" lines "${overview}")
set(num_pages 0)
foreach(line IN LISTS lines)
  if(line MATCHES "^\n  ([a-z-]+) +([^\n]+)$" AND NOT CMAKE_MATCH_1 STREQUAL "eqflow")
    write_page(eqflow-${CMAKE_MATCH_1} "${CMAKE_MATCH_2}" ${PROGRAM} ${CMAKE_MATCH_1})
    math(EXPR num_pages "${num_pages} + 1")
  endif()
endforeach()
if(num_pages LESS 5)
  message(FATAL_ERROR "only ${num_pages} commands were found in eqflow --help")
endif()
write_page(eqflow-experiment "run one of the experiments of docs/experiments and draw its picture" ${EXPERIMENT})
file(TOUCH ${OUTPUT}/done)
