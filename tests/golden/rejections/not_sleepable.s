; a helper that may wait, in a program that may not
.type KPROBE
r1 = r10
r1 += -8
r2 = 8
r3 = 0
call copy_from_user       ; error: E1113
r0 = 0
exit
