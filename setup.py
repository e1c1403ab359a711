"""Build for colcon (ament_python) and for pip, from one description.

The metadata lives here and not in pyproject.toml because setuptools before 61 (ROS 2 Humble) reads only this.
"""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "monotakd_ros"
SHARE = f"share/{PACKAGE}"

SIMULATION = ["open3d>=0.17"]
TRAINING = ["tensorboard>=2.12"]
CLUSTER = ["ray>=2.9"]
TEST = ["pytest>=7.4", "pytest-xdist>=3.5", "hypothesis>=6.80", "shapely>=2.0", "setuptools>=70.1"]
# What the teacher's sparse convolution is compared with; wheels for these only, the tests skip elsewhere.
TEST += ["spconv>=2.3.8 ; python_version < '3.14' and sys_platform == 'linux' and platform_machine == 'x86_64'"]
LINT = ["ruff>=0.6"]

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Camera-only 3D object detection for ROS 2, taught by LiDAR (MonoTAKD)",
    long_description="Reads a camera, publishes 3D boxes. See README.md.",
    license="Apache-2.0",
    author="The monotakd_ros authors",
    maintainer="The monotakd_ros authors",
    maintainer_email="monotakd_ros@users.noreply.github.com",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.report": ["*.j2", "*.css"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"{SHARE}/config", sorted(glob("config/*.yaml") + glob("config/*.rviz"))),
        (f"{SHARE}/config/recipes", sorted(glob("config/recipes/*.yaml"))),
        (f"{SHARE}/models", sorted(glob("models/*.md") + glob("models/*.yaml") + glob("models/*.pt"))),
        # The verbs as `ros2 run monotakd_ros replay`. No console_scripts: those would put a `convert` and a
        # `train` on the PATH of everyone who installs with pip.
        (f"lib/{PACKAGE}", sorted(glob("scripts/*"))),
    ],
    entry_points={"console_scripts": [f"monotakd = {PACKAGE}.cli.main:main"]},
    python_requires=">=3.10",
    install_requires=[
        "setuptools",
        "numpy>=1.23",
        "torch>=2.2",
        "opencv-python-headless>=4.5",
        "PyYAML>=5.4",
        "matplotlib>=3.5",
        "jinja2>=3.0",
        "rosbags>=0.11.9",
        "tqdm>=4.57",
    ],
    extras_require={
        "sim": SIMULATION,
        "train": TRAINING,
        "ray": CLUSTER,
        "test": TEST,
        "all": SIMULATION + TRAINING,
        "dev": SIMULATION + TRAINING + TEST + LINT,
    },
    zip_safe=True,
)
