// cmd_completion.cc: `tensorpatch completion`: what makes a shell complete command lines of this
// program, made from the same tree that parses them.
//
// What an option's value can be is read off its type name in --help: words in lower case are
// choices, the names in kFileNames are files, anything else cannot be completed.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>

#include "command.h"

namespace tensorpatch::cli {
namespace {

constexpr std::string_view kFileNames[] = {"FILE",   "KEY",   "OLD", "NEW",  "NEW2",
                                           "BUNDLE", "STATE", "SIG", "PATCH"};

struct Value {
  std::vector<std::string> names;  // as in --help, one each for several values
  std::vector<std::string> choices;
  bool is_file = false;
};

struct Word {
  std::vector<std::string> spellings;  // with their dashes; empty for what is no option
  std::string description;
  bool takes_value = false;
  bool is_repeated = false;
  Value value;
};

struct Tree {
  std::string name;
  std::string description;
  std::vector<Word> options;
  Value positionals;  // all of them as one
};

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(separator)) + word;
  return text;
}

void add_value(const CLI::Option& option, Value& value) {
  std::string type = option.get_type_name();
  type = type.substr(0, type.find(':'));  // without what validators add
  value.names = split(type, " []");
  for (const std::string& name : split(type, " []|")) {
    if (std::ranges::find(kFileNames, name) != std::end(kFileNames)) {
      value.is_file = true;
    } else if (std::islower(static_cast<unsigned char>(name.front())) != 0) {
      value.choices.push_back(name);
    }
  }
}

bool is_known(const Tree& tree, const CLI::Option& option) {
  return std::ranges::any_of(tree.options, [&](const Word& word) {
    return std::ranges::any_of(option.get_lnames(), [&](const std::string& name) {
      return std::ranges::find(word.spellings, "--" + name) != word.spellings.end();
    });
  });
}

// Options in groups are options of the command.
void add_options(const CLI::App& app, Tree& tree) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      add_value(*option, tree.positionals);
      continue;
    }
    if (is_known(tree, *option)) continue;  // groups have the command's --help again
    Word word;
    for (const std::string& name : option->get_snames()) word.spellings.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) word.spellings.push_back("--" + name);
    word.description = option->get_description();
    word.takes_value = option->get_items_expected_max() > 0;
    word.is_repeated = option->get_items_expected_max() > option->get_type_size_max();
    if (word.takes_value) add_value(*option, word.value);
    tree.options.push_back(std::move(word));
  }
  for (const CLI::App* group : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (group->get_name().empty()) add_options(*group, tree);
  }
}

Tree tree_of(const CLI::App& app) {
  Tree tree{app.get_name(), app.get_description(), {}, {}};
  add_options(app, tree);
  return tree;
}

// The program's own options first, then each command.
std::vector<Tree> trees_of(const CLI::App& app) {
  std::vector<Tree> trees{tree_of(app)};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    trees.push_back(tree_of(*command));
  }
  return trees;
}

std::vector<std::string> spellings_of(const Tree& tree) {
  std::vector<std::string> all;
  for (const Word& word : tree.options) {
    all.insert(all.end(), word.spellings.begin(), word.spellings.end());
  }
  return all;
}

// `special` characters with a backslash before.
std::string escaped(std::string_view text, std::string_view special) {
  std::string safe;
  for (const char letter : text) {
    if (special.find(letter) != std::string_view::npos) safe += '\\';
    safe += letter;
  }
  return safe;
}

// In single quotes, as one word of a shell.
std::string in_quotes(std::string_view text) {
  std::string safe = "'";
  for (const char letter : text) {
    safe += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  }
  return safe + "'";
}

std::string bash_script(const std::vector<Tree>& trees) {
  std::string commands;
  std::string cases;
  for (size_t i = 1; i < trees.size(); ++i) {
    const Tree& tree = trees[i];
    commands += tree.name + " ";
    cases += "    " + tree.name + ")\n      options=" + in_quotes(joined(spellings_of(tree))) +
             " words=" + in_quotes(joined(tree.positionals.choices)) +
             " files=" + (tree.positionals.is_file ? "1" : "") + "\n      case $before in\n";
    for (const Word& word : tree.options) {
      if (!word.takes_value) continue;
      cases += "        " + joined(word.spellings, " | ") +
               ") options= words=" + in_quotes(joined(word.value.choices)) +
               " files=" + (word.value.is_file ? "1" : "") + " ;;\n";
    }
    cases += "      esac\n      ;;\n";
  }
  return R"(_tensorpatch() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local options= words= files=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ')" +
         commands + joined(spellings_of(trees.front())) + R"(' -- "$current"))
    return
  fi
  # --option=value is three words.
  if [[ $current == '=' ]]; then
    current=
  elif [[ $before == '=' ]] && ((COMP_CWORD > 2)); then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case ${COMP_WORDS[1]} in
)" + cases +
         R"(  esac
  if [[ $options && $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
    return
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ $files ]]; then
    local name
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  fi
}
complete -F _tensorpatch tensorpatch
)";
}

// What _arguments is told of a value: a message and how to complete it.
std::string zsh_values(const Value& value) {
  if (!value.choices.empty()) {
    return std::string(":value: _tensorpatch_word") + (value.is_file ? "_or_file " : " ") +
           joined(value.choices);
  }
  std::string text;
  for (const std::string& name : value.names) {
    const bool is_file = value.is_file && name != "NAME";
    text += ":" + name + ":" + (is_file ? "_files" : " ");
  }
  return text;
}

std::string zsh_option(const Word& word) {
  const std::string rest = "[" + escaped(word.description, "[]:\\") + "]" + zsh_values(word.value);
  if (word.spellings.size() == 1) {
    return in_quotes((word.is_repeated ? "*" : "") + word.spellings.front() + rest);
  }
  return in_quotes(word.is_repeated ? "*" : "(" + joined(word.spellings) + ")") + "{" +
         joined(word.spellings, ",") + "}" + in_quotes(rest);
}

std::string zsh_positionals(const Value& value) {
  Value one = value;
  one.names = {"argument"};
  return in_quotes("*" + zsh_values(one));
}

std::string zsh_script(const std::vector<Tree>& trees) {
  std::string commands;
  std::string cases;
  for (size_t i = 1; i < trees.size(); ++i) {
    const Tree& tree = trees[i];
    commands +=
        "      " + in_quotes(tree.name) + ":" + in_quotes(escaped(tree.description, ":\\")) + "\n";
    cases += "    " + tree.name + ")\n      _arguments -s";
    for (const Word& word : tree.options) cases += " \\\n        " + zsh_option(word);
    if (!tree.positionals.names.empty()) {
      cases += " \\\n        " + zsh_positionals(tree.positionals);
    }
    cases += "\n      ;;\n";
  }
  return R"(#compdef tensorpatch
_tensorpatch_word() { compadd -- "$@" }
_tensorpatch_word_or_file() { compadd -- "$@"; _files }
_tensorpatch() {
  if ((CURRENT == 2)); then
    local -a commands=(
)" + commands +
         R"(    )
    if [[ ${words[2]} == -* ]]; then
      compadd -- )" +
         joined(spellings_of(trees.front())) + R"(
    else
      _describe command commands
    fi
    return
  fi
  local command=${words[2]}
  shift words
  ((CURRENT--))
  case $command in
)" + cases +
         R"(  esac
}
if [[ ${funcstack[1]-} == _tensorpatch ]]; then
  _tensorpatch "$@"
else
  compdef _tensorpatch tensorpatch
fi
)";
}

std::string fish_option(const Word& word) {
  std::string text;
  for (const std::string& spelling : word.spellings) {
    const bool is_long = spelling.starts_with("--");
    text += (is_long ? " -l " : " -s ") + spelling.substr(is_long ? 2 : 1);
  }
  if (word.takes_value) text += word.value.is_file ? " -r -F" : " -x";
  if (!word.value.choices.empty()) text += " -a " + in_quotes(joined(word.value.choices));
  return text + " -d " + in_quotes(word.description);
}

std::string fish_script(const std::vector<Tree>& trees) {
  const std::string begin = "complete -c tensorpatch -n ";
  std::string text;
  for (const Word& word : trees.front().options) {
    text += begin + "__fish_use_subcommand -f" + fish_option(word) + "\n";
  }
  for (size_t i = 1; i < trees.size(); ++i) {
    const Tree& tree = trees[i];
    text += begin + "__fish_use_subcommand -f -a " + tree.name + " -d " +
            in_quotes(tree.description) + "\n";
    const std::string within = begin + "'__fish_seen_subcommand_from " + tree.name + "'";
    const Value& positionals = tree.positionals;
    if (!positionals.is_file) {
      text += within + " -f -a " + in_quotes(joined(positionals.choices)) + "\n";
    }
    for (const Word& word : tree.options) text += within + fish_option(word) + "\n";
  }
  return text;
}

struct Options {
  std::string shell;
};

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      add_command(app, {"completion",
                        "Print the script that makes a shell complete tensorpatch's command lines",
                        {"source <(tensorpatch completion bash)",
                         "tensorpatch completion zsh > ~/.zfunc/_tensorpatch",
                         "tensorpatch completion fish > "
                         "~/.config/fish/completions/tensorpatch.fish"}});
  command->add_option("shell", options->shell, "The shell")
      ->type_name("bash|zsh|fish")
      ->required()
      ->check([](const std::string& given) {
        const bool is_known = given == "bash" || given == "zsh" || given == "fish";
        return is_known ? std::string() : "'" + given + "' is none of bash, zsh and fish";
      });
  on_call(command, action, options, [&app](const Options& given, Terminal& terminal) {
    const std::vector<Tree> trees = trees_of(app);
    const std::string script = given.shell == "bash"  ? bash_script(trees)
                               : given.shell == "zsh" ? zsh_script(trees)
                                                      : fish_script(trees);
    terminal.result(script, {{"shell", given.shell}, {"completion", script}});
    return Result<int>(0);
  });
}

}  // namespace tensorpatch::cli
