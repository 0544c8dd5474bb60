// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/plugin/checks.h"
#include "core/plugin/plugin_session.h"

#include <memory>
#include <string>
#include <utility>

namespace medgen {

/// Collects the results of checks. A check is a function that returns when all is well, throws an exception that says
/// what is wrong, or throws `Skipped`.
class CheckRun {
 public:
  struct Skipped {
    std::string reason;
  };

  explicit CheckRun(std::function<void(const CheckResult&)> report) : report_(std::move(report)) {}

  /// @return whether the check passed.
  template <typename Body>
  bool check(std::string name, const Body& body) {
    return add(run(std::move(name), body));
  }

  std::vector<CheckResult> take_results() { return std::move(results_); }

 private:
  template <typename Body>
  static CheckResult run(std::string name, const Body& body) {
    try {
      body();
      return {std::move(name), CheckStatus::Pass, ""};
    } catch (const Skipped& skipped) {
      return {std::move(name), CheckStatus::Skip, skipped.reason};
    } catch (const std::exception& error) {
      return {std::move(name), CheckStatus::Fail, error.what()};
    } catch (...) {
      return {std::move(name), CheckStatus::Fail, "an exception of unknown type"};
    }
  }

  bool add(CheckResult result) {
    results_.push_back(std::move(result));
    if (report_) report_(results_.back());
    return results_.back().status == CheckStatus::Pass;
  }

  std::function<void(const CheckResult&)> report_;
  std::vector<CheckResult> results_;
};

/// What is wrong, in a check.
using CheckFailure = PluginError;

/// One component under test.
struct CheckedComponent {
  std::shared_ptr<PluginSession> session;
  const ComponentInfo& info;
  const medgen_component_desc_t& description;

  std::string named(std::string_view check) const { return fmt::format("{}: {}", info.id, check); }
};

/// Life cycle, descriptions, extensions and bad input of any component.
void check_component(CheckRun& run, const CheckedComponent& component);
/// What schedulers and propagators promise in numbers. `config` is complete.
void check_scheduler(CheckRun& run, const CheckedComponent& component, const std::string& config);
void check_propagator(CheckRun& run, const CheckedComponent& component, const std::string& config);

}  // namespace medgen
