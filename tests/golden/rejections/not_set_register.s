; a register that nothing was written to
r0 = r5                   ; error: E1191
exit
