; the end without a result
exit                      ; error: E1191
