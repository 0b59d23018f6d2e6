# Completion of krait for bash, from the table that `krait --help-words` prints.

# The word that is being completed and the one before it; `--option=value` counts as two.
_krait_words() {
	cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	if [[ $cur == "=" ]]; then
		cur=
	elif [[ $prev == "=" ]] && ((COMP_CWORD > 1)); then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
}

_krait_lines() {
	local line
	while IFS= read -r line; do
		COMPREPLY+=("$line")
	done
}

_krait() {
	local cur prev program=$1 name type value rest table
	_krait_words
	COMPREPLY=()
	table=$("$program" --help-words 2>/dev/null) || return 0
	if [[ $prev == check ]]; then
		compopt -o filenames 2>/dev/null
		_krait_lines < <(compgen -f -- "$cur")
		return 0
	fi
	while IFS=$'\t' read -r name _ type value rest; do
		[[ $name == "${prev//_/-}" ]] || continue
		case $type in
		flag) break ;;
		word) _krait_lines < <(compgen -W "${value//|/ }" -- "$cur") ;;
		file | dir | paths)
			compopt -o filenames 2>/dev/null
			_krait_lines < <(compgen $([[ $type == file ]] && echo -f || echo -d) -- "$cur")
			;;
		esac
		return 0
	done < <(printf '%s\n' "${table//$'\t\t'/$'\t-\t'}")
	_krait_lines < <(compgen -W "$(cut -f 1 <<<"$table") --help --version --print-config
		$( ((COMP_CWORD == 1)) && echo check doctor)" -- "$cur")
}

complete -F _krait krait
