# The nodes on ROS 2 Jazzy with torch for CUDA. See docs/ros_install.md.
FROM ros:jazzy-ros-base AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*

# Ubuntu 24.04 refuses pip in the system (PEP 668); this environment sees ROS's packages. numpy 1: cv_bridge is built for it.
WORKDIR /ws
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126
RUN python3 -m venv --system-site-packages venv \
    && touch venv/COLCON_IGNORE \
    && venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch \
    && venv/bin/pip install --no-cache-dir rosbags 'numpy<2'

# Only the list of dependencies, so that a change of the code builds none of this again. RViz stays on the desk.
ARG SKIP_KEYS=rviz2
COPY package.xml src/monotakd_ros/package.xml
RUN apt-get update \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths src --ignore-src -y --skip-keys "$SKIP_KEYS" \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/ws/venv/bin:$PATH

FROM base AS development
RUN echo 'source /opt/ros/$ROS_DISTRO/setup.bash; [ ! -f /ws/install/setup.bash ] || source /ws/install/setup.bash' \
    >> /root/.bashrc

FROM base
COPY . src/monotakd_ros
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && python -m colcon build --packages-select monotakd_ros \
    && rm -rf build log
ENTRYPOINT ["/bin/bash", "-c", "source /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "monotakd_ros", "detector.launch.py", "rviz:=false"]
