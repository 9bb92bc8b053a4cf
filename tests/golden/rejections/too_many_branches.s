; branches that wait to be followed, more than 8192
r6 = 0
r7 = 0
call get_prandom_u32
if r0 == 0 goto +2        ; error: E1126
r7 += 1
goto -4
r0 = r7
exit
