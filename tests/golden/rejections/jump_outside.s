; a jump beyond the end
r0 = 0
if r0 == 0 goto +100      ; error: E1191
exit
