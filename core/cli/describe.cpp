// SPDX-License-Identifier: Apache-2.0
// medgen describe

#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/schema_table.h"
#include "core/inspect/inspect.h"

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string member(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) ? text_of(object.at(key)) : "";
}

/// ["N", "in_channels", "X/f"] -> "(N, in_channels, X/f)"
std::string shape_text(const Json& tensor) {
  if (!tensor.contains("shape") || !tensor.at("shape").is_array()) return member(tensor, "shape");
  std::string text;
  for (const Json& axis : tensor.at("shape")) text += (text.empty() ? "" : ", ") + text_of(axis);
  return '(' + text + ')';
}

/// One tensor of a function: its description is a text, or an object with shape, dtype and more.
std::vector<std::string> tensor_row(const std::string& direction, const std::string& name, const Json& tensor) {
  if (!tensor.is_object()) return {direction, name, text_of(tensor)};
  std::string about = member(tensor, "description");
  if (member(tensor, "optional") == "true") about = about.empty() ? "optional" : "optional; " + about;
  return {direction, name, shape_text(tensor), member(tensor, "dtype"), about};
}

std::string functions_text(const Json& functions) {
  std::string text;
  for (const auto& [name, function] : functions.items()) {
    Rows rows;
    for (const char* direction : {"in", "params", "out"}) {
      if (!function.is_object() || !function.contains(direction) || !function.at(direction).is_object()) continue;
      for (const auto& [tensor, about] : function.at(direction).items()) {
        rows.push_back(tensor_row(direction, tensor, about));
      }
    }
    const std::string summary = member(function, "summary");
    text += "\nFunction " + name + (summary.empty() ? "" : ": " + summary) + '\n' + table(rows, "  ");
  }
  return text;
}

std::string options_text(std::string_view title, const Json& schema) {
  const std::string options = schema_table(schema, "  ");
  return fmt::format("\n{}\n{}", title, options.empty() ? "  none\n" : options);
}

std::string component_text(const Json& document) {
  std::string text = table({{text_of(document.at("id")), text_of(document.at("kind"))}});
  text += member(document, "summary") + '\n';
  text += fmt::format("From plugin {} {}.\n", member(document, "plugin"), member(document, "version"));
  text += functions_text(document.at("functions"));
  text += options_text("Configuration", document.at("config"));
  return document.contains("train_options") ? text + options_text("Training options", document.at("train_options"))
                                            : text;
}

std::string method_text(const Json& document) {
  const Json& method = document.at("method");
  std::string text = member(document, "id") + "  method of plugin " + member(document, "plugin") + '\n';
  if (method.contains("summary")) text += text_of(method.at("summary")) + '\n';
  return text + '\n' + dump_pretty(method);
}

std::string plugin_text(const Json& document) {
  Rows facts;
  for (const char* key : {"id", "version", "summary", "vendor", "license", "abi", "manifest", "library", "runtime"}) {
    facts.push_back({key, text_of(document.at(key))});
  }
  Rows components;
  for (const Json& component : document.at("components")) {
    components.push_back({member(component, "id"), member(component, "kind"), member(component, "summary")});
  }
  std::string text = table(facts) + "\nComponents\n" + table(components, "  ");
  if (document.at("methods").empty()) return text;
  text += "\nMethods\n";
  for (const Json& method : document.at("methods")) text += "  " + text_of(method) + '\n';
  return text;
}

std::string model_text(const Json& document) {
  Rows facts;
  for (const char* key : {"name", "folder", "license", "credit"}) facts.push_back({key, text_of(document.at(key))});
  Rows parts;
  for (const Json& part : document.at("parts")) {
    std::string weights = member(part, "weights");
    if (!weights.empty() && part.at("bytes").is_null()) weights += " (missing)";
    parts.push_back({member(part, "role"), member(part, "component"), weights});
  }
  return table(facts) + "\nParts\n" + table(parts, "  ") + "\nDescription (model.json with its method's defaults)\n" +
         dump_pretty(document.at("model"));
}

std::string catalogue_text(const Json& document) {
  Rows components, methods;
  for (const Json& entry : document.at("components")) {
    components.push_back({member(entry, "id"), member(entry, "kind"), member(entry, "summary")});
  }
  for (const Json& entry : document.at("methods"))
    methods.push_back({member(entry, "id"), "", member(entry, "summary")});
  std::string text = "Components\n" + table(components, "  ");
  return methods.empty() ? text : text + "\nMethods\n" + table(methods, "  ");
}

std::string text(const Json& document) {
  const std::string what = member(document, "what");
  if (what == "component") return component_text(document);
  if (what == "method") return method_text(document);
  if (what == "plugin") return plugin_text(document);
  if (what == "model") return model_text(document);
  return catalogue_text(document);
}

void configure_describe(CLI::App& app, Invocation& call) {
  const auto subject = std::make_shared<std::string>();
  app.add_option("SUBJECT", *subject, "A component, method, plugin or model folder; all components when missing");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
  app.callback([subject, &call] {
    const Registry registry = call.registry();
    const Json document = subject->empty() ? catalogue_document(registry) : describe_document(registry, *subject);
    call.json ? print_json(document) : print(printable(text(document)));
  });
}

}  // namespace

const Command kDescribeCommand = {"describe",
                                  "Say what a component, method, plugin or model takes, gives and can be told.",
                                  "% maisi.unet\n"
                                  "% examples/models/hippocampus-mr\n"
                                  "% schedulers --json",
                                  configure_describe};

}  // namespace medgen::cli
