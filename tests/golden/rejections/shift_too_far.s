; a shift by more than 63
r0 = 1
r0 <<= 64                 ; error: E1191
exit
