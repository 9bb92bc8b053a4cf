; code that nothing reaches
r0 = 0
exit
r0 = 1                    ; error: E1191
exit
