; a loop in which nothing changes
r0 = 0
if r0 == 0 goto -1        ; error: E1125
exit
