; a function that calls itself
call function again
exit
.function again static
call function again       ; error: E1127
r0 = 0
exit
