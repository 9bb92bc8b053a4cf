; a helper of other program types
r1 = 1
r2 = 0
call redirect             ; error: E1113
exit
