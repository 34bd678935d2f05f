# kvc completion for bash. It needs nothing but bash.
_kvc() {
	local line=${COMP_LINE:0:COMP_POINT} rest words=() word i glue
	# bash splits words at : and =, which keys are full of: join again what no space divides.
	rest=$line
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		glue=1
		while [[ $rest == [[:space:]]* ]]; do
			rest=${rest:1}
			glue=
		done
		rest=${rest#"$word"}
		if [[ $glue && ${#words[@]} -gt 0 ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	local cur=${words[-1]} known
	COMPREPLY=()
	while IFS=$'\t' read -r word _; do
		case $word in
		:0) compopt -o default 2>/dev/null ;;
		:*) ;;
		# Only what follows the last colon is replaced.
		*) known=${cur%"${cur##*[:=]}"} && COMPREPLY+=("${word#"$known"}") ;;
		esac
	done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _kvc kvc
