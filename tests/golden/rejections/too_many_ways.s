; a loop with a branch in each round: more ways than the verifier follows
r6 = 0
r7 = 0
call get_prandom_u32
if r0 == 0 goto +1        ; error: E1126
r7 += r6
r6 += 1
if r6 != 2000000 goto -5
r0 = r7
exit
