# quern_switch(OPTION RESULT): auto, on or off, as the option says in any case.
function(quern_switch option result)
  string(TOLOWER "${${option}}" value)
  if(NOT value MATCHES "^(auto|on|off)$")
    message(FATAL_ERROR "${option} is ${${option}}: it must be auto, on or off")
  endif()
  set(${result} ${value} PARENT_SCOPE)
endfunction()
