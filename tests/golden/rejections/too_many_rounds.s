; a loop of more rounds than the verifier walks
r6 = 0
r7 = 0
r6 += 1
r7 += r6
if r6 != 400000 goto -3   ; error: E1126
r0 = r7
exit
