//go:build !race

#include "textflag.h"

// func fetchLine(at uintptr)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVD at+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET
