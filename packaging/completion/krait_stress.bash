# Completion of krait_stress for bash, from its --help.
_krait_stress() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=$1
	case $prev in
	--cookie-file | --krait | --log)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return 0
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null |
		sed -n 's/^  \(--[a-z-]*\).*/\1/p')" -- "$cur")
}

complete -F _krait_stress krait_stress
