; a tail call through a map that holds no programs
.map counts ARRAY 4 8 16
r2 = map counts
r3 = 0
call tail_call            ; error: E1113
r0 = 0
exit
