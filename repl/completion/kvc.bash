# kvc completion for bash. It needs nothing but bash.
_kvc() {
	local kvc=${COMP_WORDS[0]} line
	[[ $kvc == "~/"* ]] && kvc=$HOME/${kvc#"~/"}
	COMPREPLY=()
	# kvc itself takes the line apart: bash has split it at all of COMP_WORDBREAKS, of which keys are full.
	{
		read -r line
		[[ $line == files=true ]] && compopt -o default 2>/dev/null
		while IFS= read -r line; do
			COMPREPLY+=("$line")
		done
	} < <("$kvc" __complete-bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -F _kvc kvc
