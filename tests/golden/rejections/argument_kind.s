; a number where the context is wanted
r1 = 1
r2 = 2
call clone_redirect       ; error: E1111
r0 = 0
exit
.type SCHED_CLS
