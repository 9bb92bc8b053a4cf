; a number for a global function that wants memory
r1 = 1
call function look        ; error: E1128
exit
.function look global mem
r0 = 0
exit
