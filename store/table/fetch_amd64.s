//go:build !race

#include "textflag.h"

// func fetchLine(at uintptr)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), AX
	PREFETCHT0 (AX)
	RET
