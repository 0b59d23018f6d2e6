# Completion of kraitctl for bash, from the table that `kraitctl --completion-words` prints.
_kraitctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=$1
	local table verb='' arguments='' takes i
	COMPREPLY=()
	if [[ $cur == "=" ]]; then
		cur=
	elif [[ $prev == "=" ]] && ((COMP_CWORD > 1)); then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	table=$("$program" --completion-words 2>/dev/null) || return 0
	# which verb is there already, and what it takes; the word after an option that has a value is none
	takes=" $(awk -F '\t' '$1 == "option" && $3 != "" { print $2 }' <<<"$table" | tr '\n' ' ')"
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--*) [[ $takes == *" ${COMP_WORDS[i]} "* && ${COMP_WORDS[i + 1]} != "=" ]] && ((i++)) ;;
		[a-z]*)
			verb=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $prev in
	--cookie-file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return 0
		;;
	--*) [[ $takes == *" $prev "* ]] && return 0 ;;
	set)
		mapfile -t COMPREPLY < <(compgen -W "$(krait --help-words 2>/dev/null |
			awk -F '\t' '$6 != "restart" { gsub(/-/, "_", $1); print substr($1, 3) }')" -- "$cur")
		return 0
		;;
	esac
	if [[ -z $verb ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cut -f 2 <<<"$table")" -- "$cur")
	else
		# those of its arguments that are to be typed as they stand, such as [worker] or [-f]
		arguments=$(awk -F '\t' -v verb="$verb" '$1 == "verb" && $2 == verb { print $4 }' <<<"$table" |
			tr -d '[]' | tr ' |' '\n\n' | grep -E '^[a-z-]+$')
		mapfile -t COMPREPLY < <(compgen -W "$arguments
			$(awk -F '\t' '$1 == "option" { print $2 }' <<<"$table")" -- "$cur")
	fi
}

complete -F _kraitctl kraitctl
