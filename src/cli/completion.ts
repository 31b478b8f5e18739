import { type Command, GLOBAL_OPTIONS } from './command.js';

/** Shell completion scripts, from the table of commands. */
export type Shell = 'bash' | 'zsh' | 'fish';

const optionsOf = (command: Command): string[] => [...(command.options ?? []), ...GLOBAL_OPTIONS].map((o) => `--${o.name}`);

/** Words that may follow a prefix of command words. */
function tree(commands: readonly Command[]): Map<string, string[]> {
  const next = new Map<string, Set<string>>();
  for (const { path } of commands) {
    for (let i = 0; i < path.length; i += 1) {
      const prefix = path.slice(0, i).join(' ');
      const words = next.get(prefix) ?? new Set();
      words.add(path[i] ?? '');
      next.set(prefix, words);
    }
  }
  return new Map([...next].map(([prefix, words]) => [prefix, [...words].sort()]));
}

function bash(commands: readonly Command[]): string {
  const words = [...tree(commands)].map(([prefix, next]) => `    "${prefix}") words="${next.join(' ')}" ;;`);
  const options = commands.map((c) => `    "${c.path.join(' ')}"*) words="${optionsOf(c).join(' ')}" ;;`);
  const choices = commands.flatMap((c) =>
    (c.options ?? [])
      .filter((o) => o.choices !== undefined)
      .map((o) => `    "${c.path.join(' ')}"*" --${o.name}") words="${(o.choices ?? []).join(' ')}" ;;`),
  );
  return `# bash completion for aegis:  source <(aegis completion bash)
_aegis() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" line="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ "$word" == -* ]] && break
    line="\${line:+$line }$word"
  done
  case "$line $previous" in
${choices.join('\n')}
  esac
  if [[ -z "$words" ]]; then
    if [[ "$current" == -* ]]; then
      case "$line" in
${options.sort((a, b) => b.length - a.length).join('\n')}
      esac
    else
      case "$line" in
${words.join('\n')}
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _aegis aegis
`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function fish(commands: readonly Command[]): string {
  const lines = ['# fish completion for aegis:  aegis completion fish | source', 'complete -c aegis -f'];
  for (const [prefix, next] of tree(commands)) {
    const depth = prefix === '' ? 0 : prefix.split(' ').length;
    for (const word of next) {
      const command = commands.find((c) => c.path.join(' ') === `${prefix} ${word}`.trim());
      const condition = `test (count (commandline -opc)) -eq ${depth + 1}${depth === 0 ? '' : `; and string match -q -- "aegis ${prefix}*" (commandline -opc | string join " ")`}`;
      lines.push(`complete -c aegis -n ${quoted(condition)} -a ${word} -d ${quoted(command?.summary ?? word)}`);
    }
  }
  for (const command of commands) {
    for (const option of [...(command.options ?? []), ...GLOBAL_OPTIONS]) {
      const condition = `string match -q -- "aegis ${command.path.join(' ')}*" (commandline -opc | string join " ")`;
      lines.push(
        `complete -c aegis -n ${quoted(condition)} -l ${option.name}${option.value === undefined ? '' : ' -r -F'}${option.choices === undefined ? '' : ` -a ${quoted(option.choices.join(' '))}`} -d ${quoted(option.summary)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

/** zsh runs the bash completion through bashcompinit. */
const zsh = (commands: readonly Command[]): string => `#compdef aegis
# zsh completion for aegis:  source <(aegis completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(commands)}`;

export const completionScript = (shell: Shell, commands: readonly Command[]): string => ({ bash, fish, zsh })[shell](commands);
