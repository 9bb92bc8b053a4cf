; the frame pointer is written
r10 = 1                   ; error: E1191
r0 = 0
exit
