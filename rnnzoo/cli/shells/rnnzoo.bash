# rnnzoo's completion for bash:  eval "$(rnnzoo completion bash)"
_rnnzoo() {
    local kind="" line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $kind ]]; then kind=$line; else COMPREPLY+=("${line%%$'\t'*}"); fi
    done < <("$1" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case $kind in
        paths) compopt -o filenames 2>/dev/null ;;
        open) compopt -o nospace 2>/dev/null ;;
        words) compopt +o default 2>/dev/null ;;
    esac
}
complete -o default -F _rnnzoo rnnzoo
