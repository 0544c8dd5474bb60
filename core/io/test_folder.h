// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/test_folder.h"
