; a callback that returns something else than 0 or 1
r1 = 3
r2 = function body
r3 = 0
r4 = 0
call loop
r0 = 0
exit
.function body static
r0 = 5
exit                      ; error: E1124
