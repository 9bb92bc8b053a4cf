; the code just stops
r0 = 0                    ; error: E1191
