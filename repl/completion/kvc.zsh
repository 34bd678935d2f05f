#compdef kvc
# kvc completion for zsh: as a file _kvc in $fpath, or by source.
_kvc() {
	local line word kvc=${words[1]/#\~\//$HOME/}
	local -a found shown lines
	# What stands in quotes is passed on without them; compadd puts them back.
	for line in "${(@f)$($kvc __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
		case $line in
		*$'\t'*)
			word=${line%%$'\t'*}
			found+=("$word")
			line=${line#*$'\t'}
			[[ -n $line ]] && lines=(-l)
			shown+=("$word${line:+  -- $line}")
			;;
		:0)
			compset -P '--*='
			_files
			;;
		esac
	done
	(( $#found )) && compadd $lines -d shown -a found
}
if [[ $funcstack[1] == _kvc ]]; then
	_kvc "$@"
else
	compdef _kvc kvc
fi
