; a helper that no kernel has yet
call 9999                 ; error: E1114
exit
